package main

import "fairlead/pkg/fleet"

// rate is a flag's value: so many bytes a second, as a person wrote it.
type rate struct {
	text  string
	bytes int64
}

func (r *rate) String() string { return r.text }
func (r *rate) Type() string   { return "rate" }

func (r *rate) Set(s string) (err error) {
	r.text = s
	r.bytes, err = fleet.ParseRate(s)
	return err
}
