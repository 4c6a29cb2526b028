-- How Argo CD reads the health of a CatalystInstance. Where Argo CD runs:
--   kubectl create configmap argocd-cm -n argocd --dry-run=client -o yaml \
--     --from-file=resource.customizations.health.catalyst.dev_CatalystInstance=health.lua \
--     | kubectl apply --server-side --field-manager=catalyst -f -
-- Health does not wait for the Ingress to have an address: an instance is healthy when its pods are ready.
local hs = { status = "Progressing", message = "The operator has not looked at it yet." }
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "The operator has not looked at the latest change yet."
  return hs
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, reconciling, stalled = conditions.Ready, conditions.Reconciling, conditions.Stalled
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.reason .. ": " .. stalled.message
elseif reconciling ~= nil and reconciling.status == "True" then
  hs.message = reconciling.reason .. ": " .. reconciling.message
elseif ready ~= nil and ready.status == "True" then
  if ready.reason == "Suspended" or ready.reason == "Paused" then
    hs.status = "Suspended"
  else
    hs.status = "Healthy"
  end
  hs.message = ready.message
elseif ready ~= nil then
  hs.message = ready.reason .. ": " .. ready.message
end
return hs
