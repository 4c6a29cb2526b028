-- Weighted round robin with the calls of lua-resty-balancer that ingress-nginx makes.
-- Endpoints take their turns in the order of their names, each as often in a row as its weight says.
local RoundRobin = {}
RoundRobin.__index = RoundRobin

function RoundRobin:reinit(weights)
  local turns = {}
  for endpoint, weight in pairs(weights) do
    for _ = 1, tonumber(weight) or 1 do
      turns[#turns + 1] = endpoint
    end
  end
  table.sort(turns)
  self.nodes = weights
  self.turns = turns
  self.last = 0
end

function RoundRobin:find()
  if #self.turns == 0 then
    return nil
  end
  self.last = self.last % #self.turns + 1
  return self.turns[self.last]
end

RoundRobin.next = RoundRobin.find

function RoundRobin.new(_, weights)
  local balancer = setmetatable({}, RoundRobin)
  balancer:reinit(weights)
  return balancer
end

return RoundRobin
