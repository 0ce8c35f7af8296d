-- Health of a Notification for Argo CD. Only the base library is there, as Argo CD has it.
local hs = { status = "Progressing", message = "Waiting for the operator" }
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local function is(kind, value)
  return found[kind] ~= nil and found[kind].status == value
end
local complete = found.Complete
if complete ~= nil and complete.message ~= nil and complete.message ~= "" then
  hs.message = complete.message
end
if is("Stalled", "True") then
  hs.status = "Degraded"
  hs.message = found.Stalled.message or hs.message
elseif is("Ready", "True") then
  hs.status = "Healthy"
  if status.state ~= "Delivered" then
    hs.message = tostring(status.state) .. ": " .. hs.message
  end
elseif status.state == "Suspended" then
  hs.status = "Suspended"
end
return hs
