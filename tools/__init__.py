"""Programs for developers; the service does not import them."""
