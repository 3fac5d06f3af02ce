"""Section "Explanations": maps of single images, their faithfulness, and what filters and layers do."""
