-- A wait for children names them. Takes no lock on anything that exists.

UPDATE rkyc.reason SET why = '{detail}, since {since}', remedy = 'see why that one has not ended: rkyc jobs why CHILD' WHERE name = 'child';
