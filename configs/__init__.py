"""The YAML that ships with dnnlab; this file makes the folder a package, so that the wheel carries it as dnnlab.configs."""
