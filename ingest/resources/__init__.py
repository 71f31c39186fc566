"""The responders, one file a resource."""
