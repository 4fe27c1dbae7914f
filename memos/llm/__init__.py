"""The processor: call formats, the streaming decoder, and the models themselves."""
