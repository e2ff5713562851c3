// Package pipeline tests sluice as its users run it: the built program, its
// commands and its ports, from an agent's frame to what a sink holds.
package pipeline
