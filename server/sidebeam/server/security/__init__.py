"""Who calls: certificates, keys and tenants, read again when their files change."""
