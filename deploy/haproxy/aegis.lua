-- Asks Aegis about the request at hand: http-request lua.aegis URL
-- Sets txn.aegis_allowed where it may pass, and else answers with what Aegis says. No answer is no.

local FORWARDED = {"x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"}
-- Of this connection, and what would make the question another request.
local LEFT_OUT = {["host"] = true, ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
                  ["expect"] = true, ["upgrade"] = true, ["te"] = true, ["keep-alive"] = true,
                  ["x-original-method"] = true, ["x-original-url"] = true, ["x-original-uri"] = true}

local function question(txn)
  local headers = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not LEFT_OUT[name] then
      local list = {}
      for index = 0, #values do list[#list + 1] = values[index] end
      headers[name] = list
    end
  end
  for _, name in ipairs(FORWARDED) do headers[name] = nil end
  headers["x-forwarded-method"] = {txn.f:method()}
  headers["x-forwarded-proto"] = {txn.f:ssl_fc() == 1 and "https" or "http"}
  headers["x-forwarded-host"] = {txn.sf:req_hdr("host")}
  headers["x-forwarded-uri"] = {txn.f:pathq()}
  return headers
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply({status = status, body = body})
  for _, name in ipairs({"content-type", "retry-after", "www-authenticate", "aegis-decision", "aegis-decision-id",
                         "aegis-policy-version"}) do
    local values = headers and headers[name]
    if values and values[0] then reply:add_header(name, values[0]) end
  end
  txn:done(reply)
end

core.register_action("aegis", {"http-req"}, function(txn, url)
  local body = txn.f:req_body()
  local answer = core.httpclient():post({url = url, headers = question(txn), body = body, timeout = 5000})
  local status = answer and answer.status or 0
  if status ~= 200 then
    return refuse(txn, status >= 400 and status or 503, answer and answer.headers, answer and answer.body or "")
  end
  local function keep(name, header)
    local values = answer.headers[header]
    if values and values[0] then txn:set_var(name, values[0]) end
  end
  keep("txn.aegis_decision", "aegis-decision")
  keep("txn.aegis_decision_id", "aegis-decision-id")
  keep("txn.aegis_trace", "traceparent")
  txn:set_var("txn.aegis_allowed", true)
end, 1)
