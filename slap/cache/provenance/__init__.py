"""What is in a built release (SBOM), and who built it from what (provenance)."""
