// Addresses are relative, so that the page also works behind a path prefix; no validator, so that nothing leaves this host.
SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
