"""What happened to the models in service: usage windows, and what is computed from them."""
