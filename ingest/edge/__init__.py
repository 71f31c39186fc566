"""The HTTP edge: limits that hold before a request is understood."""
