-- Choice of an endpoint by a key's hash, with the calls of lua-resty-balancer that ingress-nginx makes.
-- Rendezvous hashing: a key goes to the endpoint that scores highest with it, so an endpoint that joins or leaves moves
-- only its own share of the keys.
local Hash = {}
Hash.__index = Hash

function Hash:reinit(weights)
  local endpoints = {}
  for endpoint in pairs(weights) do
    endpoints[#endpoints + 1] = endpoint
  end
  table.sort(endpoints)
  self.nodes = weights
  self.endpoints = endpoints
end

function Hash:find(key)
  local chosen, highest
  for index, endpoint in ipairs(self.endpoints) do
    local score = ngx.crc32_long(endpoint .. "|" .. tostring(key))
    if not highest or score > highest then
      chosen, highest = index, score
    end
  end
  return chosen and self.endpoints[chosen], chosen
end

function Hash:next(index)
  local following = index % #self.endpoints + 1
  return self.endpoints[following], following
end

function Hash.new(_, weights)
  local balancer = setmetatable({}, Hash)
  balancer:reinit(weights)
  return balancer
end

return Hash
