package nginx

import "fairlead/pkg/fleet"

// RenderUnvalidated is Render without the resources' own validation, which is
// stricter than quoting needs to be: what it lets through today or tomorrow
// must be served as it is, or be refused here.
func RenderUnvalidated(address string, resources []fleet.Resource) (Bundle, error) {
	return render(address, resources, func(fleet.Spec) fleet.Faults { return nil })
}

// Placeholders is all that staging fills in, which may be a text like any other.
const Placeholders = phModules + phUser + phTemp + phVersion + phPid + phRun + phLogs + phWorkers + phDigest
