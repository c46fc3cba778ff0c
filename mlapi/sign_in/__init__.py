"""Signing in with accounts of an identity provider: through the load balancer, or through the service itself."""
