"""One file = one stage; STAGES is the study."""
