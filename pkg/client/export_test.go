package client

// SealHost is a host as it is stored.
var SealHost = sealHost
