// Package dev runs all of Fairlead in one process: broker, station, agents and
// their nginx. It serves `fairlead dev`, the end-to-end tests and the examples.
//
// Each node has its own loopback address, journal and nginx, so several of
// them can listen on the same port of one host. What Run started it stops;
// what lies below the data directory stays, and a later start goes on with it.
package dev
