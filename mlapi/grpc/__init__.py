"""The Open Inference Protocol over gRPC; the request pipeline answers the calls."""
