# For hands that type make; everything stands in ./run.
.PHONY: check test demo ci

check:
	./run check

test:
	./run test

demo:
	./run demo

ci:
	.ci/run
