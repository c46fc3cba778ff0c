"""Where mlapi runs: template parts, three CloudFormation stacks made of them, their bill, their rollout."""
