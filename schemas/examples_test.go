package schemas

// examples are bodies of every kind, the full one and, where fields are
// optional, the least one. Versions are recorded from them; they seed the fuzz
// tests and feed the benchmarks.
var examples = []struct{ typ, kind, body string }{
	{"ethereum_metrics", "information", `{"name":"my node","contact":"me@example.org","coinbase":"0x7156526fbd7a3c72969b54f64e42c10fbb768c8a","node":"Geth/v1.17.10-stable/linux-amd64/go1.26.8","net":"1337","protocol":"eth/70, eth/69, snap/1","api":"No","ip":"10.0.0.7","port":30303,"os":"linux","os_v":"amd64","client":"0.1.1","canUpdateHistory":true}`},
	{"ethereum_metrics", "information", `{}`},
	{"ethereum_metrics", "block", `{"number":644964,"hash":"0x495057ff85ea6f0c5b2c9b1a07a3ac4a3a8c1c0c8f0ab9f1e8e4b4a9f4e1b2c3","parentHash":"0x790a57ff85ea6f0c5b2c9b1a07a3ac4a3a8c1c0c8f0ab9f1e8e4b4a9f4e1b2c3","timestamp":1795453669,"miner":"0x7156526fbd7a3c72969b54f64e42c10fbb768c8a","gasUsed":21000,"gasLimit":11511229,"difficulty":"131072","totalDifficulty":"340282366920938463463374607431768211456","transactions":[],"uncles":[]}`},
	{"ethereum_metrics", "block", `{"author":"0x7156526fbd7a3c72969b54f64e42c10fbb768c8a","difficulty":"340282366920938463463374607431768211454","extraData":"0xdb83","gasLimit":8000000,"gasUsed":42000,"hash":"0x4950","miner":"0x7156526fbd7a3c72969b54f64e42c10fbb768c8a","number":644965,"parentHash":"0x495057","receiptsRoot":"0x56e8","sealFields":["0x841256","0xb841"],"sha3Uncles":"0x1dcc","signature":"ab12","size":895,"stateRoot":"0xf28d","step":"308123456","timestamp":1540000000,"totalDifficulty":"340282366920938463463374607431768211455","transactions":["0xaa","0xbb"],"transactionsRoot":"0x56e8","uncles":["0xcc"],"baseFeePerGas":"0x7","historic":true}`},
	{"ethereum_metrics", "block", `{"number":1,"hash":"0x506d"}`},
	{"ethereum_metrics", "pending", `{"pending":12}`},
	{"ethereum_metrics", "statistics", `{"active":true,"mining":false,"hashrate":0,"peers":12,"gasPrice":1000000000,"syncing":{"startingBlock":"0x384","currentBlock":"0x386","highestBlock":"0x454"},"uptime":100.0}`},
	{"ethereum_metrics", "statistics", `{}`},
	{"ethereum_metrics", "reorg", `{"added":[{"number":7,"hash":"0xb","parent_hash":"0xa"}],"removed":[{"number":7,"hash":"0xc"},{"number":6,"hash":"0xd"}],"type":"reorg"}`},
	{"ethereum_metrics", "reorg", `{}`},
	{"ethereum_metrics", "payload", `{"number":1,"hash":"0x506d","processingTime":347026}`},
	{"system_metrics", "cpu", `{"usage":12.5,"cores":2,"per_core":[10.25,14.75],"user":9.5,"system":2.5,"iowait":0.5,"idle":87.5}`},
	{"system_metrics", "cpu", `{"usage":0,"cores":1}`},
	{"system_metrics", "memory", `{"total":8589934592,"used":4294967296,"available":4000000000,"free":100000000,"usage":50.0,"swap_total":1073741824,"swap_used":0}`},
	{"system_metrics", "memory", `{"total":1,"used":1,"available":0,"usage":100}`},
	{"system_metrics", "disk", `{"mount":"/","device":"/dev/vda1","fstype":"ext4","total":100000000000,"used":63000000000,"free":32000000000,"usage":66.25}`},
	{"system_metrics", "disk", `{"mount":"/data","total":1,"used":0,"free":1,"usage":0}`},
	{"system_metrics", "load", `{"load1":0.25,"load5":0.5,"load15":1.75}`},
	{"system_metrics", "network", `{"interface":"eth0","bytes_sent":9007199254740993,"bytes_received":2,"packets_sent":3,"packets_received":4,"errors_in":5,"errors_out":6,"drops_in":7,"drops_out":8,"bytes_sent_per_second":1.5,"bytes_received_per_second":2.5,"packets_sent_per_second":3.5,"packets_received_per_second":4.5}`},
	{"system_metrics", "network", `{"interface":"lo","bytes_sent":1,"bytes_received":2,"packets_sent":3,"packets_received":4,"errors_in":5,"errors_out":6,"drops_in":7,"drops_out":8}`},
	{"system_metrics", "statistics", `{"cpu_load":12.5,"memory_usage":1.5,"disk_usage":63}`},
	{"system_metrics", "statistics", `{}`},
	{"networking_metrics", "latency", `{"latency":14}`},
	{"networking_metrics", "connected", `{"connection":"c1","protocol":"websocket","instance":"gateway-0"}`},
	{"networking_metrics", "alive", `{"connection":"c1","protocol":"ethstats","instance":"gateway-0"}`},
	{"networking_metrics", "disconnected", `{"connection":"c1","protocol":"websocket","instance":"gateway-0","reason":"draining"}`},
	{"networking_metrics", "disconnected", `{"connection":"c1","protocol":"websocket","reason":""}`},
	{"networking_metrics", "refused", `{"instance":"gateway-0","since":1795453669123,"reasons":[{"reason":"bad_token","count":3},{"reason":"banned","count":1}]}`},
	{"networking_metrics", "refused", `{"reasons":[]}`},
}
