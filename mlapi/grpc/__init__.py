"""The Open Inference Protocol over gRPC: the request pipeline behind another door."""
