-- A lock in a shared dictionary that is taken at once or not at all, which is how ingress-nginx uses lua-resty-lock.
local Lock = {}
Lock.__index = Lock

local DEFAULT_EXPIRY_SECONDS = 30

function Lock.new(_, dictionary, options)
  local shared = ngx.shared[dictionary]
  if not shared then
    return nil, "no such dictionary: " .. tostring(dictionary)
  end
  local expiry = options and options.exptime or DEFAULT_EXPIRY_SECONDS
  return setmetatable({ shared = shared, expiry = expiry }, Lock)
end

function Lock:lock(key)
  local taken, problem = self.shared:add(key, true, self.expiry)
  if not taken then
    return nil, problem == "exists" and "timeout" or problem
  end
  self.held = key
  return 0
end

function Lock:unlock()
  if self.held then
    self.shared:delete(self.held)
    self.held = nil
  end
  return 1
end

return Lock
