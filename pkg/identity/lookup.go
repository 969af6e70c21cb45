package identity

import "fairlead/pkg/message"

// Lookup is the trust set as package message asks for it.
func (t Trust) Lookup() message.Trust {
	byKey := make(map[string]message.Trusted, len(t.Keys))
	for _, k := range t.Keys {
		byKey[k.Key] = message.Trusted{Name: k.Name, Role: k.Role, Methods: k.Methods}
	}
	return func(key string) (message.Trusted, bool) {
		owner, ok := byKey[key]
		return owner, ok
	}
}
