"""Where the bytes of a cache lie: five methods, in a folder or in an S3-compatible store."""
