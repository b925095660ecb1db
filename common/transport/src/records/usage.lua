-- Before a script that counts or looks at what tenants use: the key of a day in UTC, by this server's clock.
local function usage_key(prefix, now)
  return prefix .. string.format('%.0f', math.floor(now / 86400000))
end
