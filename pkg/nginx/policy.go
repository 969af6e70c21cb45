package nginx

import (
	"encoding/json"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
)

// policyFile is the node's policy as part of the bundle: it travels, is
// committed and rolled back with the configuration that it was made for, and
// holds without a link and after a restart.
const policyFile = "policy.json"

func policyText(p *fleet.NodePolicy) string {
	text, _ := json.MarshalIndent(p, "", "  ") // of plain fields: cannot fail
	return string(text) + "\n"
}

// policy is what the version that serves says; the zero policy where it says
// nothing.
func (e *Engine) policy() fleet.NodePolicy { return e.good.policy() }

func (v version) policy() (p fleet.NodePolicy) {
	data, err := os.ReadFile(filepath.Join(v.Dir, policyFile))
	if err == nil {
		p = parsePolicy(data)
	}
	return p
}

func parsePolicy(data []byte) (p fleet.NodePolicy) {
	_ = json.Unmarshal(data, &p) // written by policyText
	return p
}
