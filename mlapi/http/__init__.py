"""The HTTP service: one ASGI application, and one pipeline for every prediction."""
