"""The registry's REST API: the admin's actions for programs."""
