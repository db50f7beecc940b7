-- Health of PodGangSet and PodCliqueSet for Argo CD. Uses none of the open libraries.
local function named(conditions, kind)
  for _, condition in ipairs(conditions) do
    if condition.type == kind then
      return condition
    end
  end
  return {}
end

local status = obj.status
if status == nil or status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Grovekeeper has not seen this change yet" }
end

local conditions = status.conditions or {}
local stalled = named(conditions, "Stalled")
if stalled.status == "True" then
  return { status = "Degraded", message = stalled.message or "" }
end

local progressing = named(conditions, "Progressing")
if progressing.reason == "UpdatePaused" then
  return { status = "Suspended", message = progressing.message or "" }
end

local ready = named(conditions, "Ready")
if ready.status == "True" then
  return { status = "Healthy", message = ready.message or "" }
end
return { status = "Progressing", message = ready.message or "waiting for the first status" }
