-- name: find_tenant_key
SELECT id, wrapped, master FROM rkyc.tenant_key WHERE tenant = :tenant;

-- name: read_tenant_key
SELECT id, wrapped, master FROM rkyc.tenant_key WHERE id = :id AND tenant = :tenant;

-- name: add_tenant_key
INSERT INTO rkyc.tenant_key (id, tenant, wrapped, master, created_at)
VALUES (:id, :tenant, :wrapped, :master, clock_timestamp()) ON CONFLICT (tenant) DO NOTHING RETURNING id;

-- name: list_tenant_keys
SELECT id, tenant, master, created_at FROM rkyc.tenant_key ORDER BY tenant;

-- name: list_keys_of_others
SELECT id, tenant, wrapped, master FROM rkyc.tenant_key WHERE master <> :master ORDER BY id;

-- name: rewrap_tenant_key
UPDATE rkyc.tenant_key SET wrapped = :wrapped, master = :master WHERE id = :id AND master = :old_master RETURNING id;

-- name: erase_tenant
DELETE FROM rkyc.tenant_key WHERE tenant = :tenant RETURNING id;
