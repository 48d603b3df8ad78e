"""What a project has decided to live with for now: findings of a scan, and losses of `probe` and `verify`."""
