package nginx

import (
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Render turns resources into the files of one node's nginx. The address is
// what a Listen without one means; "" is every address, IPv6 included where
// the node has it.
//
// The order of resources does not matter. An Upstream that no VirtualHost
// uses is left out. The error is fleet.Faults: everything that is wrong at
// once, each with the resource and the path, and for what two resources both
// claim with the names of both.
func Render(address string, resources []fleet.Resource) (Bundle, error) {
	return render(address, resources, fleet.Spec.Validate)
}

func render(address string, resources []fleet.Resource, validate func(fleet.Spec) fleet.Faults) (Bundle, error) {
	m, faults := newModel(address, resources, validate)
	if err := faults.Err(); err != nil {
		return Bundle{}, err
	}
	var files []File
	add := func(path, owner, content string) {
		files = append(files, File{Path: path, Mode: 0o600, Content: []byte(content), Owner: owner})
	}
	for _, r := range m.resources {
		base := strings.ToLower(r.Kind) + "-" + r.Metadata.Name + ".conf"
		switch spec := r.Spec.(type) {
		case *fleet.VirtualHost:
			files = append(files, m.virtualHost(r, spec)...)
		case *fleet.Upstream:
			if m.needed[r.ID()] {
				add(upstreamFile(inHTTP, r.Metadata.Name), r.ID(), upstream(inHTTP, r.Metadata.Name, spec, asWritten))
			}
		case *fleet.Policy:
			if m.needed[r.ID()] {
				policyFiles(r, spec, add)
			}
		case *fleet.Split:
			if m.needed[r.ID()] {
				add("http.d/"+base, r.ID(), split(r, spec))
			}
		case *fleet.Stream:
			add("stream.d/"+base, r.ID(), m.stream(r, spec))
		case *fleet.Certificate:
			if m.needed[r.ID()] {
				files = append(files, certificate(r, spec)...)
			}
		case *fleet.ConfigFile:
			files = append(files, rawFile(r, spec))
		}
	}
	m.streamUpstreams(add)
	if text := m.localUpstreams(); text != "" {
		add(upstreamsFile, "", text)
	}
	if text := m.refusals(); text != "" {
		add(refusalsFile, "", text)
	}
	if m.policy != nil {
		add(policyFile, m.policyID, policyText(m.policy))
	}
	add("mime.types", "", mimeTypes)
	add("nginx.conf", "", m.base(files))
	return NewBundle(files), nil
}

// rawFile is a ConfigFile as it lies in the bundle.
func rawFile(r fleet.Resource, c *fleet.ConfigFile) File {
	return File{Path: c.Context + ".d/configfile-" + r.Metadata.Name + ".conf", Mode: 0o600,
		Content: []byte(strings.TrimRight(c.Content, "\n") + "\n"), Owner: r.ID()}
}

// model is everything that rendering one file needs to know of the others.
type model struct {
	address   string
	resources []fleet.Resource  // sorted by ID
	listeners []listener        // of all virtual hosts, sorted, each once
	defaults  map[string]bool   // listeners that have a default host
	needed    map[string]bool   // IDs of resources that others name
	streamed  map[string]bool   // IDs of upstreams that streams name
	policy    *fleet.NodePolicy // of the node, nil where it follows none
	policyID  string
	names     []string // all server names
}

// newModel checks each resource by itself, then what they claim together.
func newModel(address string, resources []fleet.Resource, validate func(fleet.Spec) fleet.Faults) (*model, fleet.Faults) {
	m := &model{address: address, defaults: map[string]bool{}, needed: map[string]bool{}, streamed: map[string]bool{}}
	m.resources = slices.Clone(resources)
	slices.SortStableFunc(m.resources, func(a, b fleet.Resource) int { return strings.Compare(a.ID(), b.ID()) })
	var faults fleet.Faults
	if _, err := listenersOf(address, fleet.Listen{Port: 1}); err != nil {
		faults.Addf("address", "the node's listen address: %v", err)
	}
	for i, r := range m.resources {
		var own fleet.Faults
		switch {
		case !resourceName.MatchString(r.Metadata.Name):
			own.Addf("metadata.name", "%q is no name: use letters, digits, - and _, at most 63", r.Metadata.Name)
		case r.Spec == nil || r.Spec.Kind() != r.Kind:
			own.Addf("spec", "is not that of a %s", r.Kind)
		case i > 0 && m.resources[i-1].ID() == r.ID():
			own.Addf("metadata.name", "there are two of this kind and name")
		default:
			if own = validate(r.Spec); len(own) == 0 {
				own = check(r.Spec)
			}
		}
		faults = append(faults, about(r, own)...)
	}
	if len(faults) == 0 {
		faults = m.claims()
	}
	return m, faults
}

// about says which resource faults are of.
func about(r fleet.Resource, faults fleet.Faults) fleet.Faults {
	for i := range faults {
		faults[i].Subject = r.ID()
	}
	return faults
}
