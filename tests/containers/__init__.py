"""What the test of the images needs: a compose project of its own, a load on it, and what an image is made of."""
