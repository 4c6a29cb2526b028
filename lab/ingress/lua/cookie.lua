-- Reads a request's cookie and sets one in the answer: what ingress-nginx's sticky balancers call of lua-resty-cookie.
local Cookie = {}
Cookie.__index = Cookie

local ATTRIBUTES = {
  { "expires", "Expires" },
  { "max_age", "Max-Age" },
  { "domain", "Domain" },
  { "path", "Path" },
  { "samesite", "SameSite" },
}

function Cookie.new()
  return setmetatable({}, Cookie)
end

function Cookie:get(name)
  return ngx.var["cookie_" .. name]
end

function Cookie:set(cookie)
  local words = { cookie.key .. "=" .. cookie.value }
  for _, attribute in ipairs(ATTRIBUTES) do
    local value = cookie[attribute[1]]
    if value then
      words[#words + 1] = attribute[2] .. "=" .. tostring(value)
    end
  end
  if cookie.secure then
    words[#words + 1] = "Secure"
  end
  if cookie.httponly then
    words[#words + 1] = "HttpOnly"
  end
  local all = ngx.header["Set-Cookie"] or {}
  if type(all) ~= "table" then
    all = { all }
  end
  all[#all + 1] = table.concat(words, "; ")
  ngx.header["Set-Cookie"] = all
  return true
end

return Cookie
