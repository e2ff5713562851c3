// Command bench measures what a frame costs: in the gateway, in the normalizer,
// and on the whole way, each beside the bare libraries doing the least there is
// to do, in the same run.
//
// Each part runs in a process of its own, this program started again, so that
// processor time and memory can be told apart:
//
//	            ┌─ begin, count ─────────────────────────────────┐
//	bench ──────┼──────────────┬───────────────┬─────────────────┤
//	          load ─ frames ─► gateway ─────► broker ◄──────► normalizer
//	               ◄─ acks ─── (bare: read,   (embedded,      (bare: copy)
//	                            produce)       or --brokers)
//
// A part says how many frames it has done and how much time it has used
// whenever it is asked. It ends when its standard input does, so that nothing is
// left running.
//
// Costs follow the shape of the load, frames per read above all, so every
// figure stands beside its shape. Figures of one run on one machine say little;
// the ratio to the bare figure beside them says more.
package main
