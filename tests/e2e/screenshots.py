"""`python -m tests.e2e.screenshots`: each page of the console in light and dark, wide and narrow, into docs/console."""

import io
import math
import random
import tempfile
import time
from pathlib import Path

import typer
from PIL import Image
from playwright.sync_api import Browser, Page

from riskline.shared.model.registry import Registry
from tests.e2e.browsing import PAGES, Site, chromium, signed_in, site
from tests.integration.conftest import clean_environment
from tests.support.factories import transaction_json

DIRECTORY = Path(__file__).parents[2] / "docs" / "console"
WIDTHS = {1440: 900, 390: 844}
SCHEMES = ("light", "dark")
QUEUED = 8
"""Of so many transactions one goes through the queue."""
MOST_PIXELS = {1440: 1_800_000, 390: 900_000}
"""A long list shows no more when it is shown longer."""
COLOURS = 40
"""The pages have few: as many are not told from all, in a third of the bytes."""


def traffic(running: Site, *, seconds: float) -> None:
    """Transactions like those of the demo's month, more of them now and fewer then."""
    chance = random.Random(7)
    start = time.monotonic()
    number = 0
    while (passed := time.monotonic() - start) < seconds:
        for _ in range(round(4 + 3 * math.sin(passed / 400))):
            number += 1
            far = chance.random() < 0.1
            transaction = transaction_json(
                transaction_id=f"order-{number}",
                amount=round(chance.lognormvariate(5.5 if far else 3.4, 0.9), 2),
                merchant_category_code=chance.choice((5411, 5812, 5942, 5964)),
                customer_age=chance.randint(18, 80),
                distance_from_home=round(chance.lognormvariate(5.5 if far else 1.8, 0.8), 1),
                is_online_transaction=int(chance.random() < 0.2),
            )
            running.call("POST", "/transactions" if number % QUEUED == 0 else "/score-transaction", transaction)
        time.sleep(0.1)


def take(browser: Browser, running: Site, *, width: int, scheme: str) -> None:
    """All pages in one size and scheme."""
    options = {"viewport": {"width": width, "height": WIDTHS[width]}, "color_scheme": scheme}
    context = signed_in(browser, running, **options)
    page = context.new_page()
    version = Registry(running.up.data / "models").active_version()
    for name, path in {**PAGES, "report": f"/console/models/{version}/report"}.items():
        page.goto(path)
        if name == "try":
            page.click("main form button")
            page.wait_for_selector("text=What would change it")
        kept(page, DIRECTORY / f"{name}-{scheme}-{width}.png")
    context.close()
    signed_out = browser.new_page(base_url=running.url, **options)
    signed_out.goto("/console/sign-in")
    kept(signed_out, DIRECTORY / f"sign-in-{scheme}-{width}.png")
    signed_out.close()


def kept(page: Page, path: Path) -> None:
    """Writes what is seen, small."""
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, MOST_PIXELS[image.width] // image.width)))
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main(minutes: float = 2.1) -> None:
    """Starts a demo, has it decide for some minutes (each is a point in a picture), and takes the pictures."""
    DIRECTORY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as data, site(Path(data), clean_environment(), demo=True) as running:
        running.fill()
        traffic(running, seconds=60 * minutes)
        with chromium() as browser:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    take(browser, running, width=width, scheme=scheme)


if __name__ == "__main__":
    typer.run(main)
