"""GitOps reconciler for the SSL certificates of BeyondTrust Privileged Remote Access appliances."""

__version__ = "0.1.0"
