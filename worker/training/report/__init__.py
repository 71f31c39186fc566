"""The report of a measurement: one HTML file with its figures and charts in it."""
