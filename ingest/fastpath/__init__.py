"""The two requests of a checkout, answered from the HTTP parser's callback."""
