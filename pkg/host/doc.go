// Package host is the machine as Fairlead sees it: processes, files and the
// clock that neither a person nor NTP can turn back.
//
// It sits at the bottom and is the only user of os/exec. Everything in it
// works without root and is safe to call from any number of goroutines; but for
// the meter of processor time it holds no state. It speaks to Linux alone: process identity comes from
// /proc, signals go through pidfds, so that a pid that was used again never
// receives a signal that was meant for somebody else.
package host
