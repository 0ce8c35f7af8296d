-- Health of a NotificationProcessor for Argo CD.
local hs = { status = "Progressing", message = "Waiting for the operator" }
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return hs
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    hs.message = condition.message
    if condition.status == "True" then
      hs.status = "Healthy"
    elseif condition.reason == "Suspended" then
      hs.status = "Suspended"
    elseif condition.status == "False" and condition.reason ~= "Connecting" then
      hs.status = "Degraded"
      hs.message = tostring(condition.reason) .. ": " .. tostring(condition.message)
    end
  end
end
return hs
