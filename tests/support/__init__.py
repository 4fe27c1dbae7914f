"""Code that several tests share: servers, screens, sample data."""
