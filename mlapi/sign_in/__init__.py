"""Sign-in with accounts of an identity provider: at the load balancer, or in the service itself."""
