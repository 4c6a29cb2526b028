-- Stands where a library is that Debian does not have and that only annotations unknown to the product need:
-- global rate limits, OCSP stapling, Services of the type ExternalName. Whoever calls it is told so.
local function new()
  return nil, "this library is not part of the lab"
end

return { new = new, TYPE_A = 1, TYPE_AAAA = 28 }
