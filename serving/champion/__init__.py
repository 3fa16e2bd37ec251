"""The champion in flight: verified, loaded, replaced while requests run."""
