"""The HTTP face: one ASGI application, one pipeline that every prediction passes."""
